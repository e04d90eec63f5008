"""`python -m worker`: one worker process."""

from worker.app.main import main

if __name__ == "__main__":
    main()
