"""What a worker serves: the live bundle, and the takedowns in force."""
