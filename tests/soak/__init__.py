"""Hours of real use in minutes: the real service, everybody at once, everything going wrong; by hand."""
