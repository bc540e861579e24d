"""Several processes, on this machine or on several, by way of Ray: the one door to it."""
