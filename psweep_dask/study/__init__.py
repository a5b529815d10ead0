"""A study as a whole: its runs, what dead drivers left, backups, merges, edits."""
