"""The chip side: profiles, programs, and the devices that run them."""
