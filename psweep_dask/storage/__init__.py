"""The files of a study: their paths, the plan, the journal, the database."""
