"""Control: the control loop, the reconciler, and steering of jobs."""
