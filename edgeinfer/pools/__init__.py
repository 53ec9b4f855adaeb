"""Who does work that can be shared: this process, processes beside it, the workers of a cluster."""

from edgeinfer.pools.cluster import Cluster, connected, pool_of
from edgeinfer.pools.pool import HERE, Gathering, Pool
from edgeinfer.pools.processes import Processes

__all__ = ["HERE", "Cluster", "Gathering", "Pool", "Processes", "connected", "pool_of"]
