"""HTML pages about results, made of records that they are handed."""
