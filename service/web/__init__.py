"""What every request passes before and beside the routes."""
