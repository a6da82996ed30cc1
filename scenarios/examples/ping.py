"""Build a fabric and ping across it.

    sudo .venv/bin/python scenarios/examples/ping.py

            spine1   spine2
              | \\   / |          h1 and h3 hang on different leaves, so the echo crosses a spine
            leaf1   leaf2        inside VXLAN, on the path that its flow hashes to
            h1 h2   h3 h4
"""

from scenarios.run.lab import lab
from topologies.clos import LeafSpine


def main() -> str:
    """ping's own words."""
    with lab(LeafSpine(leaves=2, spines=2, hosts_per_leaf=2, host_rate="20mbit")) as it:
        h1, h3 = it.net.get("h1", "h3")
        return str(h1.cmd(f"ping -c3 -i 0.2 {h3.IP()}"))


if __name__ == "__main__":
    print(main())
