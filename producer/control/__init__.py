"""What keeps jobs moving: the control loop, the reconciler, steering."""
