package qupath.lib.io

import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import qupath.lib.objects.PathObject
import qupath.lib.objects.Roi

/** GeoJSON as QuPath reads and writes it: an id that is a UUID stays; unknown members are dropped. */
class PathIO {
    static List readObjectsFromGeoJSON(InputStream stream) {
        new JsonSlurper().parse(stream, "UTF-8").features.collect { read(it) }
    }

    private static PathObject read(Map feature) {
        def kind = feature.geometry.type, places = feature.geometry.coordinates
        def polygons = kind == "MultiPolygon" ? places : kind == "Polygon" ? [places] : [[[places]]]
        def properties = feature.properties ?: [:]
        return new PathObject(
            id: feature.id ? UUID.fromString(feature.id) : UUID.randomUUID(),
            roi: new Roi(rings: polygons.collect { it.collect { open(it) } }, isPoint: kind == "Point"),
            name: properties.name ?: null,
            pathClass: properties.classification?.name,
            metadata: properties.metadata ?: [:])
    }

    private static List open(List ring) {
        ring.size() > 1 && ring.first() == ring.last() ? ring[0..-2] : ring
    }

    static String write(Collection objects) {
        JsonOutput.toJson([type: "FeatureCollection", features: objects.collect { one ->
            def polygons = one.roi.rings.collect { it.collect { [*it, it[0]].collect { point(it) } } }
            def geometry = one.roi.isPoint ? [type: "Point", coordinates: point(one.roi.rings[0][0][0])] :
                polygons.size() == 1 ? [type: "Polygon", coordinates: polygons[0]] :
                [type: "MultiPolygon", coordinates: polygons]
            def classed = one.pathClass ? [classification: [name: one.pathClass, color: [200, 0, 0]]] : [:]
            [type: "Feature", id: one.id.toString(), geometry: geometry, properties:
                [objectType: "annotation", name: one.name, metadata: one.metadata] + classed]
        }])
    }

    private static List point(List place) { place.collect { (it as Float).doubleValue() } }
}
