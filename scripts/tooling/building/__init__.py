"""From a recipe in a lane to tested packages in the local channel."""
