"""What a trained model writes, where its heads attend, its loss at each token."""
