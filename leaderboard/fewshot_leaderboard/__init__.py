"""Records to pages: a static, self-contained leaderboard."""
