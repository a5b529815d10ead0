"""What is on disk: paths, the journal, the plan, the database."""
