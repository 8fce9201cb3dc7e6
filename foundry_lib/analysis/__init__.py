"""What a trained model writes, where its heads attend, what each token costs it."""
