package sbdcmd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/sbd"
)

// optionLetters is the string that sbd 1.5.2 gives to getopt(3): a colon follows
// a letter that takes a value.
const optionLetters = "czC:DPRTWZhvw:d:n:p:1:2:3:4:5:t:I:F:S:s:r:"

// numeric are the letters whose value is a whole number, 0 or more.
const numeric = "SsC12345tIF"

// maxDevices is how many devices sbd(8) takes.
const maxDevices = 3

// defaultIO is how long one request to a disk may take.
const defaultIO = 3 * time.Second

// options is a command line. What only sbd's daemon needs is checked and then
// forgotten.
type options struct {
	devices  []string
	node     string // own name
	help     bool
	verbose  int
	io       time.Duration // of one request
	times    times
	dog      dogOptions
	operands []string // verb and arguments
}

// times are what create writes, in seconds.
type times struct {
	watchdog, allocate, loop, msgwait int
	watchdogGiven, msgwaitGiven       bool
}

// dogOptions say which watchdog test-watchdog arms.
type dogOptions struct {
	device     string
	given      bool // by -w or SBD_WATCHDOG_DEV
	used       int  // how often -W was given: an odd number enables
	off        bool // by SBD_WATCHDOG or /dev/null
	keepPeriod bool // -T: leave the device's own timeout
}

// refusal is a command line that is not carried out. With usage the summary of
// the options is printed after it.
type refusal struct {
	text  string
	usage bool
}

// Error is the text for stderr; empty: the summary says it all.
func (r refusal) Error() string { return r.text }

func misuse(format string, args ...any) error { return refusal{fmt.Sprintf(format, args...), true} }

func refuse(format string, args ...any) error { return refusal{fmt.Sprintf(format, args...), false} }

// scan reads a command line as GNU getopt(3) does: options may stand behind
// operands, letters without value may share a dash, a value may touch its
// letter, and -- ends the options. It calls found for every option in order and
// returns the operands.
func scan(args []string, found func(letter byte, value string) error) ([]string, error) {
	var operands []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(operands, args[i+1:]...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			operands = append(operands, arg)
			continue
		}
		for at := 1; at < len(arg); at++ {
			letter := arg[at]
			place := strings.IndexByte(optionLetters, letter)
			if place < 0 || letter == ':' {
				return nil, misuse("sbd: invalid option -- '%c'", letter)
			}
			value := ""
			if strings.HasPrefix(optionLetters[place+1:], ":") {
				if value = arg[at+1:]; value == "" {
					if i++; i == len(args) {
						return nil, misuse("sbd: option requires an argument -- '%c'", letter)
					}
					value = args[i]
				}
				at = len(arg)
			}
			if err := found(letter, value); err != nil {
				return nil, err
			}
		}
	}
	return operands, nil
}

// parse reads the environment and the command line, which has precedence.
func (s *System) parse(args []string) (*options, error) {
	o := &options{io: defaultIO, times: times{watchdog: 5, allocate: 2, loop: 1, msgwait: 10}, dog: dogOptions{device: "/dev/watchdog"}}
	var action string
	if err := o.environment(s.Getenv, &action); err != nil {
		return nil, err
	}
	var err error
	o.operands, err = scan(args, func(letter byte, value string) error { return o.set(letter, value, &action) })
	if err != nil || o.help {
		return o, err
	}
	if len(o.devices) == 0 {
		if err := o.devicesOf(s.Getenv("SBD_DEVICE")); err != nil {
			return nil, err
		}
	}
	if o.node == "" {
		if o.node, err = s.Hostname(); err != nil {
			return nil, refuse("sbd: the name of this node: %v; give it with -n", err)
		}
	}
	return o, o.check(action)
}

// set takes one option of the command line.
func (o *options) set(letter byte, value string, action *string) error {
	trimmed := strings.TrimLeft(value, " \t\n\v\f\r")
	takes := strings.Contains(optionLetters, string(letter)+":")
	number := 0
	if takes {
		var err error
		if strings.IndexByte(numeric, letter) >= 0 {
			number, err = wholeNumber(trimmed)
		}
		if trimmed == "" || err != nil {
			return misuse("Invalid value \"%s\" for option -%c", value, letter)
		}
	}
	switch letter {
	case 'h':
		o.help = true
	case 'v':
		o.verbose++
	case 'd':
		return o.addDevice(trimmed)
	case 'n':
		o.node = trimmed
	case 'I':
		o.io = time.Duration(number) * time.Second
	case '1':
		o.times.watchdog, o.times.watchdogGiven = number, true
	case '2':
		o.times.allocate = number
	case '3':
		o.times.loop = number
	case '4':
		o.times.msgwait, o.times.msgwaitGiven = number, true
	case 'w':
		o.dog.device, o.dog.given = trimmed, true
	case 'W':
		o.dog.used++
	case 'T':
		o.dog.keepPeriod = true
	case 'r':
		*action = trimmed
	}
	return nil
}

// wholeNumber reads what strtol(3) reads to the end, 0 to 2147483646.
func wholeNumber(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err == nil && (n < 0 || n == 1<<31-1) {
		err = strconv.ErrRange
	}
	return int(n), err
}

// addDevice takes a -d. A device that was given before counts once.
func (o *options) addDevice(path string) error {
	if !strings.HasPrefix(path, "/") {
		return refuse("Invalid device: %s", path)
	}
	if !slices.Contains(o.devices, path) {
		o.devices = append(o.devices, path)
	}
	return nil
}

// devicesOf takes SBD_DEVICE: devices with semicolons between them.
func (o *options) devicesOf(line string) error {
	for _, path := range strings.Split(line, ";") {
		if path = strings.TrimSpace(path); path == "" {
			continue
		}
		if err := o.addDevice(path); err != nil {
			return refuse("Invalid device line: %s", line)
		}
	}
	return nil
}

// environment takes the variables of /etc/default/sbd and /etc/sysconfig/sbd
// that mean something here.
func (o *options) environment(getenv func(string) string, action *string) error {
	if v := strings.TrimSpace(getenv("SBD_WATCHDOG_DEV")); v != "" {
		o.dog.device, o.dog.given = v, true
	}
	if v := strings.TrimSpace(getenv("SBD_WATCHDOG")); v != "" {
		o.dog.off = !slices.Contains([]string{"true", "on", "yes", "y", "1"}, strings.ToLower(v))
	}
	*action = strings.TrimSpace(getenv("SBD_TIMEOUT_ACTION"))
	v := strings.TrimSpace(getenv("SBD_WATCHDOG_TIMEOUT"))
	if v == "" {
		return nil
	}
	n, err := wholeNumber(strings.TrimSuffix(strings.TrimSuffix(v, "sec"), "s"))
	if err != nil {
		return refuse("sbd: SBD_WATCHDOG_TIMEOUT=%s: it must be whole seconds", v)
	}
	o.times.watchdog, o.times.watchdogGiven = n, true
	return nil
}

// check refuses what sbd(8) refuses before it does anything.
func (o *options) check(action string) error {
	if len(o.devices) > 0 {
		if err := checkName(o.node); err != nil {
			return err
		}
	}
	switch {
	case len(o.devices) > maxDevices:
		return refuse("You can specify up to 3 devices via the -d option.")
	case len(o.operands) == 0:
		return misuse("Not enough arguments.")
	}
	parts := strings.Split(action, ",")
	for _, p := range parts {
		if action != "" && (len(parts) > 2 || !slices.Contains([]string{"reboot", "crashdump", "off", "flush", "noflush"}, p)) {
			return refuse("Failed to parse timeout-action \"%s\".", action)
		}
	}
	return nil
}

// checkName refuses a name that a slot cannot hold.
func checkName(name string) error {
	if len(name) > sbd.MaxName {
		return refuse("Node name mustn't be longer than %d chars.\nIf uname is longer define a name to be used by sbd.", sbd.MaxName)
	}
	return nil
}

// settle derives msgwait where only the watchdog timeout was given, and says
// whether msgwait is too short. need is the shortest safe one.
//
// What a fenced node may still do after the message is on the disk: a read that
// was served just before may return an I/O timeout later, its daemon takes the
// disk for good for another I/O timeout and a loop, and then its watchdog runs
// off. One second is the granularity of the watchdog. sbd(8) recommends twice
// the watchdog timeout, which is less than that for short timeouts.
func (t *times) settle(io time.Duration) (need int, short bool) {
	need = max(2*t.watchdog, t.watchdog+2*int(io/time.Second)+t.loop+1)
	if t.watchdogGiven && !t.msgwaitGiven {
		t.msgwait = need
	}
	return need, t.msgwait < need
}
