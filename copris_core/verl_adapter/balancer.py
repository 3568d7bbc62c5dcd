"""verl's load-balancer protocol: which server a request goes to. Knows nothing of the gate."""

from typing import Any

Server = tuple[str, Any]


class Balancer:
    """Sends each request to the least loaded server."""

    def __init__(self, servers: dict[str, Any]) -> None:
        """``servers``: server actors by id."""
        self._servers = dict(servers)
        self._loads = dict.fromkeys(servers, 0)

    async def acquire_server(self, request_id: str) -> Server:
        """A server for a request that is not training's."""
        return self._load()

    async def release_server(self, server_id: str) -> None:
        """Such a request has ended."""
        self._unload(server_id)

    async def require_acquire_fields(self) -> list[str]:
        """Routing looks at the load alone."""
        return []

    async def require_release_fields(self) -> list[str]:
        """Counts by server."""
        return []

    async def add_servers(self, servers: dict[str, Any]) -> None:
        """Take replicas into rotation."""
        self._servers.update(servers)
        for server_id in servers:
            self._loads.setdefault(server_id, 0)

    async def remove_servers(self, server_ids: list[str]) -> None:
        """Take replicas out of rotation."""
        for server_id in server_ids:
            self._servers.pop(server_id, None)
            self._loads.pop(server_id, None)

    async def get_all_servers(self) -> list[str]:
        """Server ids in rotation."""
        return list(self._servers)

    async def get_total_inflight(self) -> int:
        """Requests on all servers, validation's included."""
        return sum(self._loads.values())

    async def get_status(self) -> dict[str, Any]:
        """The state, for debugging."""
        return {
            "servers": dict(self._loads),
            "total_inflight": sum(self._loads.values()),
            "active_servers": len(self._servers),
        }

    async def clear_sticky_cache(self) -> dict[str, Any]:
        """Nothing sticks to a server here: prefix caches are reset at every weight update."""
        return {"cleared_entries": 0, "server_loads": dict(self._loads)}

    def _load(self, preferred: str | None = None) -> Server:
        if not self._loads:
            raise RuntimeError("No available servers in load balancer")
        least = min(self._loads, key=self._loads.__getitem__)
        server_id = preferred if preferred in self._loads else least
        self._loads[server_id] += 1
        return server_id, self._servers[server_id]

    def _unload(self, server_id: str) -> None:
        if server_id in self._loads:
            self._loads[server_id] -= 1
