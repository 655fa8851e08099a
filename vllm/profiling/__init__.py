"""What a run reached of the machine's limits, and where the time of a step goes."""
