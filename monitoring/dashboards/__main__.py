"""`python -m monitoring.dashboards`: write the dashboards' files anew."""

from monitoring.dashboards.build import write


def main() -> None:
    """Write, and say what."""
    for path in write():
        print(path)


if __name__ == "__main__":
    main()
