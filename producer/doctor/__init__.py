"""What is wrong with an installation: settings, Redis, storage, models, devices and clocks."""
