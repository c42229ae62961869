"""What Prefect's pages show, and every setting of Prefect that this project changes."""
