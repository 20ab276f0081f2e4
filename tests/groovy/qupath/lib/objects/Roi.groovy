package qupath.lib.objects

/** A shape: polygons of rings, or a point. Corners have 32 bits, as those of QuPath's polygons. */
class Roi {
    List rings
    boolean isPoint

    boolean isArea() { !isPoint }

    List getAllPoints() { rings.collectMany { it }.collectMany { it }.collect { new Point(it) } }
    double getBoundsX() { getAllPoints()*.x.min() }
    double getBoundsY() { getAllPoints()*.y.min() }
    double getBoundsWidth() { getAllPoints()*.x.max() - getBoundsX() }
    double getBoundsHeight() { getAllPoints()*.y.max() - getBoundsY() }
    double getCentroidX() { getBoundsX() + getBoundsWidth() / 2 }
    double getCentroidY() { getBoundsY() + getBoundsHeight() / 2 }

    static class Point {
        final double x, y
        Point(List place) { x = place[0] as float; y = place[1] as float }
        double getX() { x }
        double getY() { y }
    }
}
