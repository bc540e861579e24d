"""Learning: methods, the loop through the chip, the trainer."""
