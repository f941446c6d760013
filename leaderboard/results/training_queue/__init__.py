"""The queue behind `make.py`: which trainings there are, what each is worth, and what runs them one after another."""
