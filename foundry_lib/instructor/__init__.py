"""For instructors: store the outputs of a lesson, compare a run with them, report the differences."""
