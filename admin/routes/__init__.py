"""What can be asked for, one module for each kind of object; `admin.app` puts them together."""
