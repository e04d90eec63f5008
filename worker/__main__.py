"""`python -m worker`: one worker process. Nothing heavy is imported here, since every child that the worker
spawns imports this module again."""

if __name__ == "__main__":
    from worker.app.main import main

    main()
