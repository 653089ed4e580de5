// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/docker-remote-write/docker-remote-write/proof/fleetsim"
)

// colours of the variants, told apart by people who see few colours too.
var colours = []color.Color{color.RGBA{0, 114, 178, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{213, 94, 0, 255}}

// plotScenario draws, one row a variant, requests on the left and samples on the
// right, offered in each second.
func plotScenario(file string, sc fleetsim.Named, variants []fleetsim.Variant, results []fleetsim.Result) error {
	rows := make([][]*plot.Plot, len(variants))
	for i, v := range variants {
		for _, col := range []struct {
			what  string
			scale float64
			value func(fleetsim.Second) int
		}{
			{"requests a second", 1, func(s fleetsim.Second) int { return s.Requests }},
			{"thousand samples a second", 1e-3, func(s fleetsim.Second) int { return s.Samples }},
		} {
			p := plot.New()
			p.Title.Text = fmt.Sprintf("%s: %s, %s", sc.Name, col.what, v.Name)
			p.Title.TextStyle.Font.Size = vg.Points(10)
			p.X.Label.Text = "minutes"
			p.Y.Min = 0
			p.Add(plotter.NewGrid())
			points := make(plotter.XYs, len(results[i].Seconds))
			for t, s := range results[i].Seconds {
				points[t] = plotter.XY{X: float64(t) / 60, Y: col.scale * float64(col.value(s))}
			}
			line, err := plotter.NewLine(points)
			if err != nil {
				return err
			}
			line.Color, line.Width = colours[i%len(colours)], vg.Points(0.7)
			p.Add(line)
			rows[i] = append(rows[i], p)
		}
	}
	img := vgimg.NewWith(vgimg.UseWH(11*vg.Inch, vg.Length(len(rows))*2.2*vg.Inch), vgimg.UseDPI(96))
	tiles := draw.Tiles{Rows: len(rows), Cols: 2, PadX: 8, PadY: 8, PadTop: 4, PadBottom: 4, PadLeft: 4, PadRight: 8}
	for r, canvases := range plot.Align(rows, tiles, draw.New(img)) {
		for c, canvas := range canvases {
			rows[r][c].Draw(canvas)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: img}).WriteTo(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
