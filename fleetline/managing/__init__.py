"""What the commands that manage the registry are made of, beside what all administrative commands share (`fleetline.admin`)."""
