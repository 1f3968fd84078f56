package members

import (
	"github.com/holdfast-ha/holdfast/internal/config/form"
)

func ocfShape() form.Shape {
	agent := form.Text("An OCF resource agent as provider:type; its parameters stand beside it, under with", "heartbeat:nginx",
		form.Like(`^[A-Za-z0-9_][A-Za-z0-9_.-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*$`, "is no agent: provider:type"))
	return short(agent, form.Object("An OCF resource agent",
		form.Required("agent", agent),
		form.Optional("check_level", form.Number("OCF_CHECK_LEVEL of the check: 0 (default), 10 or 20, as the agent's documentation says", 0, 30)),
	))
}

func systemdShape() form.Shape {
	unit := form.Text("A unit of systemd, which must not be enabled", "postgresql@15-main.service",
		form.Like(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?$`, "is no name of a unit"))
	return short(unit, form.Object("A unit of the system's service manager", form.Required("unit", unit)))
}
