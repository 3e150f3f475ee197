"""Tenants and what they have set."""

from pydantic import Field

from admin.shapes.common import Given, Shown, Text, Version
from registry.model import Tenant, TenantSettings


class NewTenant(Given):
    """A tenant to be made."""

    name: Text
    id: Text | None = Field(None, description="One of your own; made up unless given.")


class TenantChange(Given):
    """What is to be changed of a tenant."""

    name: Text
    version: Version | None = None


class TenantShown(Shown):
    """A tenant."""

    id: str
    name: str
    version: int


class SettingsGiven(Given):
    """All of a tenant's settings."""

    auto_register: list[Text] = Field(
        max_length=100, description="Sources whose unknown devices are made instead of waiting in `unmapped`."
    )
    version: int | None = Field(None, ge=0, le=2**53, description="As it was read; 0 while nothing was ever set.")


class SettingsShown(Shown):
    """A tenant's settings; version 0: nothing was ever set."""

    auto_register: list[str]
    version: int


def tenant_shown(tenant: Tenant) -> TenantShown:
    """Show a tenant."""
    return TenantShown(id=tenant.id, name=tenant.name, version=tenant.version)


def settings_shown(settings: TenantSettings) -> SettingsShown:
    """Show a tenant's settings."""
    return SettingsShown(auto_register=list(settings.auto_register), version=settings.version)
