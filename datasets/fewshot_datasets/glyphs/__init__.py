"""Glyphs: characters of invented alphabets, drawn by this program. Imports the core alone."""
