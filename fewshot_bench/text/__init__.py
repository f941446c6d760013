"""Texts as they may reach a terminal or a page. Imports nothing of this project."""
