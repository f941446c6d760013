"""What is asked for, and what it comes to: requests, specs, what a method accepts, the command that asks for the same
again. Imports `runs.plan` and whatever `runs` may import.
"""
