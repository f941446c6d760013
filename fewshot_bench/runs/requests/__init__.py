"""What a request comes to: its specs, what a method accepts, whose code is imported. Imports `runs.plan` and whatever
`runs` may import.
"""
