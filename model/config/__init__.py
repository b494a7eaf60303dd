"""What training can be told, and what each model's recipe says."""
