"""What the tasks, the systems and the report share."""
