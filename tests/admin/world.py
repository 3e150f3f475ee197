"""A tenant that has one of everything, made over HTTP."""

import re
from typing import Any

from registry.rules.access import EVERYTHING
from schemas.ids import new_id
from tests.admin.service import Service

AREA = {"type": "Circle", "latitude": 47.1, "longitude": 8.2, "radius_m": 100}


class World:
    """`ids` by the names they have in paths; `secrets` is everything that was shown once; `key` has every scope."""

    def __init__(self, service: Service) -> None:
        mark = new_id()[-12:]
        self.secrets: list[str] = []
        tenant = service.tenant(f"tenant {mark}")
        self._base = base = f"/api/v1/tenants/{tenant}"

        def make(path: str, **body: Any) -> dict[str, Any]:
            answer = service.operator.post(path, json=body)
            assert answer.status_code in (200, 201), answer.text
            made = dict(answer.json())
            self.secrets += [
                made[each] for each in ("secret", "token", "new_secret") if isinstance(made.get(each), str)
            ]
            return made

        self._make = make
        self.gateway = make(f"{base}/devices", name=f"gateway {mark}", gateway=True)["id"]
        self.device = make(f"{base}/devices", name=f"device {mark}", imei=f"imei-{mark}", external_id=f"ext-{mark}")
        device = self.device["id"]
        make(f"{base}/devices/{device}/token")
        make(f"{base}/integration/secret")
        credential = make(f"{base}/credentials", source="flespi", name=f"credential {mark}")
        destination = make(f"{base}/destinations", url=f"https://{mark}.example/in", psk=f"psk {mark}")
        self.secrets.append(f"psk {mark}")
        fence = make(f"{base}/geofences", name=f"fence {mark}", area=AREA)
        key = make(f"{base}/api-keys", name=f"key {mark}", scopes=[EVERYTHING])
        self.key = str(key["secret"])
        self.operators_key = make("/api/v1/api-keys", name=f"operator {mark}", scopes=["audit:read"])["id"]
        self.ids = {
            "tenant_id": tenant,
            "device_id": device,
            "credential_id": credential["id"],
            "destination_id": destination["id"],
            "geofence_id": fence["id"],
            "key_id": key["id"],
        }
        self._mark = mark
        self.bodies: dict[str, Any] = {
            "create_tenant": {"name": f"new {new_id()}"},
            "change_tenant": {"name": f"renamed {mark}"},
            "put_settings": {"auto_register": ["flespi"]},
            "create_device": {"name": f"new {mark}"},
            "change_device": {"name": f"renamed {mark}"},
            "create_credential": {"source": "autopi"},
            "create_destination": {"url": "https://new.example/"},
            "change_destination": {"name": "renamed"},
            "create_geofence": {"name": "new", "area": AREA},
            "change_geofence": {"name": "renamed"},
            "create_api_key": {"name": "new", "scopes": ["api_keys:read"]},
            "import_file": f"name\nimported {mark}\n",
            "create_operators_key": {"name": "new", "scopes": ["api_keys:read"]},
        }

    def fill(self, path: str) -> str:
        """Put the ids into a path of the OpenAPI document. Raises KeyError for a part nobody thought of."""
        ids = {**self.ids, "key_id": self.operators_key} if path.startswith("/api/v1/api-keys") else self.ids
        return re.sub(r"\{(\w+)\}", lambda part: ids[part[1]], path)

    def new_key(self, scopes: list[str], *, operator: bool = False) -> str:
        """Make a key with these scopes and return its secret."""
        path = "/api/v1/api-keys" if operator else f"{self._base}/api-keys"
        return str(self._make(path, name="probe", scopes=scopes)["secret"])

    def contents(self, service: Service) -> dict[str, Any]:
        """Return everything the tenant has, but its keys."""
        found: dict[str, Any] = {}
        for what in ("", "/settings", "/integration", "/devices", "/credentials", "/destinations", "/geofences"):
            answer = service.operator.get(f"{self._base}{what}")
            assert answer.status_code == 200
            found[what] = answer.json()
        return found

    def words(self) -> list[str]:
        """Return what would show that something of this tenant was answered."""
        return [self._mark, *self.ids.values(), self.gateway, *self.secrets]


def make_world(service: Service) -> World:
    """Make a tenant and everything it can have."""
    return World(service)
