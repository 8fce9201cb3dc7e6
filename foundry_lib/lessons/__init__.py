"""What the lessons call: questions, checks of exercises, progress, the learner's own parts."""
