"""Runs the pipeline's jobs, on Celery or in one process. It knows newsletter; newsletter does not know it."""
