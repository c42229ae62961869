"""The DAG, and an orchestrator that runs it in this process. :mod:`flows.pipeline` has that of Prefect."""
