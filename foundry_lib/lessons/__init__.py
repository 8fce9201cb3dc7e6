"""What the lessons use: questions, checks of exercises, progress, the learner's own parts."""
