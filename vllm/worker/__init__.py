"""Runs the model on the batch that the scheduler chose."""
