"""`python -m worker`: one worker process."""

from worker.app.start import main

if __name__ == "__main__":
    main()
