// Connects the image that is open in QuPath with gigaslide: predicts the selected region on a
// server of gigaslide serve, fetches the newest outlines of gigaslide view, or sends yours.
// QuPath 0.5 or later: drag this file into the window, then Run. docs/qupath.md tells more.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import groovy.transform.Field
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpRequest.BodyPublishers
import java.net.http.HttpResponse.BodyHandlers
import java.util.concurrent.ExecutionException
import javafx.application.Platform
import javafx.scene.control.Alert
import javafx.scene.control.ButtonType
import javafx.scene.control.Label
import javafx.scene.control.ProgressBar
import javafx.scene.layout.VBox
import javafx.stage.Modality
import qupath.fx.dialogs.Dialogs
import qupath.lib.io.PathIO

// "predict", "fetch" or "send"; empty: a window asks.
@Field String action = ""
// The link that the command printed, or the folder that holds its .server.json: the annotations of
// gigaslide view, the jobs of gigaslide serve. Empty: a window asks.
@Field String link = ""
// Predict: the model, and settings such as [threshold: 0.6]. Empty: a window asks among several.
@Field String model = ""
@Field Map settings = [:]
// Send: true if you answer for the whole slide, so that trainings may use it.
@Field boolean accepted = false
// Send: true if you looked, and the outlines fit though the file of the slide was replaced.
@Field boolean slideFits = false
// Your name; that of --annotator, if the server was started with one, goes before it.
@Field String annotator = System.getProperty("user.name")

// ------------------------------------------------------------------ nothing to change below here
@Field Map actions = [predict: "Predict the selected region", fetch: "Fetch the newest outlines",
    send: "Send my outlines as a new version"]
@Field List formats = ["tif", "svs", "ndpi", "scn", "bif", "svslide", "dcm", "png", "jpg"]
@Field HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()
@Field Map server = [:]
// Properties of the image, which QuPath saves with it: what was loaded, by id, as it was then.
@Field String FETCHED = "gigaslide outlines", FOUND = "gigaslide predictions"
@Field String VERSION = "gigaslide version", SLIDE = "gigaslide slide"

try {
    if (getCurrentImageData() == null) fail("no image is open; open a slide, and run this again")
    def wanted = action ?: choose("What shall be done?", actions.values())
    if (wanted in ["predict", actions.predict]) predictRegion()
    if (wanted in ["fetch", actions.fetch]) fetchOutlines()
    if (wanted in ["send", actions.send]) sendOutlines()
} catch (InterruptedException stopped) {
    println "gigaslide: cancelled"
} catch (IllegalStateException problem) {
    println "gigaslide: ${problem.getMessage()}"
    Dialogs.showErrorMessage("gigaslide", problem.getMessage())
}

def predictRegion() {
    connect("serve")
    def names = getJson("api/models").models*.id
    def wanted = model ?: names.size() == 1 ? model ?: names[0] : choose("Which model?", names)
    def id = findSlide(false)
    def (x, y) = corner(id ? getJson("api/slides/${encode(id)}") : null)
    def roi = getSelectedObject()?.getROI()
    if (roi == null) confirm("Nothing is selected. Predict the whole slide?")
    def region = roi == null ? [:] : [region: regionOf(roi, x, y)]
    def window = new ProgressWindow(getQuPath())
    try {
        def slide = id ? [slide: id] : [upload: upload(window)]
        def request = [model: wanted, settings: settings] + slide + region
        def job = readJson(postJson("api/jobs", request))
        def state = watch(job.id, window)
        if (state.state == "cancelled") throw new InterruptedException()
        if (state.state == "failed") fail("the job failed: ${state.reason}")
        def results = ["outlines.geojson", "detections.geojson"]
        def answers = results.collect { getJson("api/jobs/${job.id}/${it}") }
        answers.each { checkSize(it.gigaslide.slide_size, x, y) }
        def found = answers.collectMany { load(it.features, -x, -y) }
        def earlier = getAllObjects(false).findAll { isUnchanged(it, FOUND) && isWithin(it, roi) }
        removeObjects(earlier, true)
        addObjects(found)
        remember(FOUND, found, recall(FOUND))
        tell("${wanted}: ${found.size()} outlines and detections" +
            (state.reason ? "; ${state.reason}" : ""))
    } finally {
        window.close()
    }
}

def fetchOutlines() {
    connect("view")
    def id = findSlide(true)
    def (x, y) = corner(getJson("api/slides/${encode(id)}"))
    def answer = check(send("GET", "api/slides/${encode(id)}/outlines"))
    def version = answer.headers().firstValue("ETag").get().replaceAll(/\D/, "")
    def mine = outlines().findAll { !isUnchanged(it, FETCHED) && !isUnchanged(it, FOUND) }
    def kept = mine.collect { it.getID().toString() }
    def theirs = load(readJson(answer).features.each { if (it.id in kept) it.remove("id") }, -x, -y)
    removeObjects(outlines().findAll { isUnchanged(it, FETCHED) }, true)
    addObjects(theirs)
    remember(FETCHED, theirs)
    keep(VERSION, "${version} ${id}")
    tell("version ${version} of ${id}: ${theirs.size()} outlines" +
        (mine ? "; ${mine.size()} that you drew or changed stay beside them" : ""))
}

def sendOutlines() {
    connect("view")
    def id = findSlide(true)
    def geometry = getJson("api/slides/${encode(id)}")
    def (version, of) = (getCurrentImageData().getProperty(VERSION) ?: "0 ${id}").split(" ", 2)
    if (of != id || (version == "0" && geometry.newest)) {
        fail("not sent: the server has version ${geometry.newest} of ${id}. Fetch it first: what " +
            "you drew stays beside it. Then send")
    }
    def (x, y) = corner(geometry)
    def mine = outlines()
    def content = [outlines: export(mine, x, y), accepted: accepted, annotator: annotator,
        slide_changed: slideFits]
    def builtOn = ["If-Match": "\"${version}\""]
    def answer = postJson("api/slides/${encode(id)}/outlines", content, builtOn)
    if (answer.statusCode() == 409) {
        fail("not sent: the server has version ${readJson(answer).newest} now, and you fetched " +
            "version ${version}. Nothing is lost: your outlines are still here. Fetch: those of the " +
            "server are loaded, and what you drew or changed stays beside them. Delete what is " +
            "there twice, and send")
    }
    if (answer.statusCode() == 410) {
        fail("not sent: ${readJson(answer).error} (slideFits = true, at the top of the script)")
    }
    def saved = readJson(answer)
    remember(FETCHED, mine)
    keep(VERSION, "${saved.version} ${id}")
    def words = "sent as version ${saved.version} of ${id}: ${saved.outlines} outlines"
    tell(([words] + saved.notes).join("\n"))
}
