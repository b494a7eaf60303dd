"""What callers send and get: the API's types, its errors, its description."""
