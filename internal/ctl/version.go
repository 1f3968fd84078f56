package ctl

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/ctl/manual"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

func (a *app) versionCommand() *cobra.Command {
	return a.PrintsJSON(shell.Command("version", cobra.NoArgs, func(*cobra.Command, []string) error {
		if a.JSON {
			return a.PrintJSON(map[string]any{
				"version": build.Version(), "commit": build.Commit(),
				"api_version": api.Version, "disk_format": quorumdisk.Newest, "join_version": api.JoinVersion,
			})
		}
		a.Say("holdfast %s", build.String())
		a.Say("local API %d, quorum disk format %d, join protocol %d", api.Version, quorumdisk.Newest, api.JoinVersion)
		return nil
	}))
}

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	c := shell.Command("completion bash|zsh|fish", cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), func(c *cobra.Command, args []string) error {
		switch args[0] {
		case "bash":
			return c.Root().GenBashCompletionV2(a.Out, true)
		case "zsh":
			return c.Root().GenZshCompletion(a.Out)
		}
		return c.Root().GenFishCompletion(a.Out, true)
	})
	c.ValidArgs = shells
	return c
}

func (a *app) manCommand() *cobra.Command {
	return shell.Command("man DIRECTORY", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		date, err := pageDate()
		if err != nil {
			return err
		}
		return manual.Set{Version: build.Version(), Date: date}.Write(args[0], c.Root())
	})
}

// pageDate is the date in the man pages: SOURCE_DATE_EPOCH, so that two builds
// are the same, or today.
func pageDate() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Now(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%q is no number of seconds since 1970", epoch)
	}
	return time.Unix(seconds, 0), nil
}
