"""Many runs: a grid becomes a plan, and processes that share a folder carry it out, a subprocess for each run."""
