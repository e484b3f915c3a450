"""The records of every interface as types, for editors and type checkers.

Rule: types alone; nothing here is looked at while harvesting, and records stay as they came.

    from harvester.datacube.types import GetUserSummary

    record: GetUserSummary
    growth = record["new_user"] - record["cancel_user"]

Any field may be missing, and unknown ones may stand beside them.  What each means is told in
`harvester.datacube.fields`, and by ``harvester endpoints NAME``.
"""

from __future__ import annotations

from typing import TypedDict


class GetUserSummary(TypedDict, total=False):
    """A record of getusersummary."""

    ref_date: str
    user_source: int
    new_user: int
    cancel_user: int


class GetUserCumulate(TypedDict, total=False):
    """A record of getusercumulate."""

    ref_date: str
    user_source: int
    cumulate_user: int


class GetArticleSummary(TypedDict, total=False):
    """A record of getarticlesummary."""

    ref_date: str
    msgid: str
    title: str
    int_page_read_user: int
    int_page_read_count: int
    ori_page_read_user: int
    ori_page_read_count: int
    share_user: int
    share_count: int
    add_to_fav_user: int
    add_to_fav_count: int
    user_source: int


class ArticleTotalDay(TypedDict, total=False):
    """An article's running totals to the end of one day."""

    stat_date: str
    target_user: int
    int_page_read_user: int
    int_page_read_count: int
    ori_page_read_user: int
    ori_page_read_count: int
    share_user: int
    share_count: int
    add_to_fav_user: int
    add_to_fav_count: int
    int_page_from_session_read_user: int
    int_page_from_session_read_count: int
    int_page_from_hist_msg_read_user: int
    int_page_from_hist_msg_read_count: int
    int_page_from_feed_read_user: int
    int_page_from_feed_read_count: int
    int_page_from_friends_read_user: int
    int_page_from_friends_read_count: int
    int_page_from_other_read_user: int
    int_page_from_other_read_count: int
    int_page_from_kanyikan_read_user: int
    int_page_from_kanyikan_read_count: int
    int_page_from_souyisou_read_user: int
    int_page_from_souyisou_read_count: int
    feed_share_from_session_user: int
    feed_share_from_session_cnt: int
    feed_share_from_feed_user: int
    feed_share_from_feed_cnt: int
    feed_share_from_other_user: int
    feed_share_from_other_cnt: int


class GetArticleTotal(TypedDict, total=False):
    """A record of getarticletotal."""

    ref_date: str
    msgid: str
    title: str
    user_source: int
    url: str
    content_url: str
    details: list[ArticleTotalDay]


class GetUserRead(TypedDict, total=False):
    """A record of getuserread."""

    ref_date: str
    user_source: int
    int_page_read_user: int
    int_page_read_count: int
    ori_page_read_user: int
    ori_page_read_count: int
    share_user: int
    share_count: int
    add_to_fav_user: int
    add_to_fav_count: int


class GetUserReadHour(TypedDict, total=False):
    """A record of getuserreadhour."""

    ref_date: str
    ref_hour: int
    user_source: int
    int_page_read_user: int
    int_page_read_count: int
    ori_page_read_user: int
    ori_page_read_count: int
    share_user: int
    share_count: int
    add_to_fav_user: int
    add_to_fav_count: int


class GetUserShare(TypedDict, total=False):
    """A record of getusershare."""

    ref_date: str
    share_scene: int
    share_count: int
    share_user: int
    user_source: int


class GetUserShareHour(TypedDict, total=False):
    """A record of getusersharehour."""

    ref_date: str
    ref_hour: int
    share_scene: int
    share_count: int
    share_user: int
    user_source: int


class ReadUserSource(TypedDict, total=False):
    """Readers by one entrance."""

    user_count: int
    scene_desc: str


class ArticleReadFigures(TypedDict, total=False):
    """The readers of an article on a day."""

    read_user: int
    read_user_source: list[ReadUserSource]


class GetArticleRead(TypedDict, total=False):
    """A record of getarticleread."""

    ref_date: str
    msgid: str
    detail: ArticleReadFigures


class ArticleShareFigures(TypedDict, total=False):
    """The sharers of an article on a day."""

    share_user: int


class GetArticleShare(TypedDict, total=False):
    """A record of getarticleshare."""

    ref_date: str
    msgid: str
    detail: ArticleShareFigures


class BizSummaryFigures(TypedDict, total=False):
    """The figures of an account on a day."""

    read_user: int
    read_user_source: list[ReadUserSource]
    share_user: int
    zaikan_user: int
    like_user: int
    comment_count: int
    collection_user: int
    redirect_ori_page_user: int
    send_page_count: int


class GetBizSummary(TypedDict, total=False):
    """A record of getbizsummary."""

    ref_date: str
    detail: BizSummaryFigures


class ReadJumpPosition(TypedDict, total=False):
    """The readers who left in one fifth of an article."""

    position: int
    rate: float


class ArticleTotalDetailDay(TypedDict, total=False):
    """An article's running totals to the end of one day."""

    stat_date: str
    read_user: int
    read_user_source: list[ReadUserSource]
    share_user: int
    zaikan_user: int
    like_user: int
    comment_count: int
    collection_user: int
    praise_money: int
    read_subscribe_user: int
    read_delivery_rate: float
    read_finish_rate: float
    read_avg_activetime: float
    read_jump_position: list[ReadJumpPosition]


class GetArticleTotalDetail(TypedDict, total=False):
    """A record of getarticletotaldetail."""

    ref_date: str
    msgid: str
    publish_type: int
    title: str
    content_url: str
    detail_list: list[ArticleTotalDetailDay]


class GetUpstreamMsg(TypedDict, total=False):
    """A record of getupstreammsg."""

    ref_date: str
    msg_type: int
    msg_user: int
    msg_count: int
    user_source: int


class GetUpstreamMsgHour(TypedDict, total=False):
    """A record of getupstreammsghour."""

    ref_date: str
    ref_hour: int
    msg_type: int
    msg_user: int
    msg_count: int
    user_source: int


class GetUpstreamMsgWeek(TypedDict, total=False):
    """A record of getupstreammsgweek."""

    ref_date: str
    msg_type: int
    msg_user: int
    msg_count: int
    user_source: int


class GetUpstreamMsgMonth(TypedDict, total=False):
    """A record of getupstreammsgmonth."""

    ref_date: str
    msg_type: int
    msg_user: int
    msg_count: int
    user_source: int


class GetUpstreamMsgDist(TypedDict, total=False):
    """A record of getupstreammsgdist."""

    ref_date: str
    count_interval: int
    msg_user: int
    user_source: int


class GetUpstreamMsgDistWeek(TypedDict, total=False):
    """A record of getupstreammsgdistweek."""

    ref_date: str
    count_interval: int
    msg_user: int
    user_source: int


class GetUpstreamMsgDistMonth(TypedDict, total=False):
    """A record of getupstreammsgdistmonth."""

    ref_date: str
    count_interval: int
    msg_user: int
    user_source: int


class GetInterfaceSummary(TypedDict, total=False):
    """A record of getinterfacesummary."""

    ref_date: str
    callback_count: int
    fail_count: int
    total_time_cost: int
    max_time_cost: int
    max_time_count: int


class GetInterfaceSummaryHour(TypedDict, total=False):
    """A record of getinterfacesummaryhour."""

    ref_date: str
    ref_hour: int
    callback_count: int
    fail_count: int
    total_time_cost: int
    max_time_cost: int
    max_time_count: int


class GetWeAnalysisAppidDailySummaryTrend(TypedDict, total=False):
    """A record of getweanalysisappiddailysummarytrend."""

    ref_date: str
    visit_total: int
    share_pv: int
    share_uv: int


class GetWeAnalysisAppidDailyVisitTrend(TypedDict, total=False):
    """A record of getweanalysisappiddailyvisittrend."""

    ref_date: str
    session_cnt: int
    visit_pv: int
    visit_uv: int
    visit_uv_new: int
    stay_time_uv: float
    stay_time_session: float
    visit_depth: float


class GetWeAnalysisAppidWeeklyVisitTrend(TypedDict, total=False):
    """A record of getweanalysisappidweeklyvisittrend."""

    ref_date: str
    session_cnt: int
    visit_pv: int
    visit_uv: int
    visit_uv_new: int
    stay_time_uv: float
    stay_time_session: float
    visit_depth: float


class GetWeAnalysisAppidMonthlyVisitTrend(TypedDict, total=False):
    """A record of getweanalysisappidmonthlyvisittrend."""

    ref_date: str
    session_cnt: int
    visit_pv: int
    visit_uv: int
    visit_uv_new: int
    stay_time_uv: float
    stay_time_session: float
    visit_depth: float


class Retained(TypedDict, total=False):
    """Who came again after so many days, weeks or months."""

    key: int
    value: int


class GetWeAnalysisAppidDailyRetainInfo(TypedDict, total=False):
    """A record of getweanalysisappiddailyretaininfo."""

    ref_date: str
    visit_uv_new: list[Retained]
    visit_uv: list[Retained]


class GetWeAnalysisAppidWeeklyRetainInfo(TypedDict, total=False):
    """A record of getweanalysisappidweeklyretaininfo."""

    ref_date: str
    visit_uv_new: list[Retained]
    visit_uv: list[Retained]


class GetWeAnalysisAppidMonthlyRetainInfo(TypedDict, total=False):
    """A record of getweanalysisappidmonthlyretaininfo."""

    ref_date: str
    visit_uv_new: list[Retained]
    visit_uv: list[Retained]


class GetWeAnalysisAppidVisitPage(TypedDict, total=False):
    """A record of getweanalysisappidvisitpage."""

    ref_date: str
    page_path: str
    page_visit_pv: int
    page_visit_uv: int
    page_staytime_pv: float
    entrypage_pv: int
    exitpage_pv: int
    page_share_pv: int
    page_share_uv: int


class VisitDistributionItem(TypedDict, total=False):
    """One part of a distribution."""

    key: int
    value: int
    access_source_visit_uv: int


class VisitDistributionIndex(TypedDict, total=False):
    """One distribution."""

    index: str
    item_list: list[VisitDistributionItem]


class GetWeAnalysisAppidVisitDistribution(TypedDict, total=False):
    """A record of getweanalysisappidvisitdistribution."""

    ref_date: str
    list: list[VisitDistributionIndex]


class PortraitPart(TypedDict, total=False):
    """One part of the visitors."""

    id: int
    name: str
    value: int


class PortraitDevice(TypedDict, total=False):
    """The visitors with one device."""

    name: str
    value: int


class Portrait(TypedDict, total=False):
    """Who the visitors are."""

    province: list[PortraitPart]
    city: list[PortraitPart]
    genders: list[PortraitPart]
    platforms: list[PortraitPart]
    devices: list[PortraitDevice]
    ages: list[PortraitPart]


class GetWeAnalysisAppidUserPortrait(TypedDict, total=False):
    """A record of getweanalysisappiduserportrait."""

    ref_date: str
    visit_uv_new: Portrait
    visit_uv: Portrait


class GameDimension(TypedDict, total=False):
    """One dimension of a part of the players."""

    label: str
    value: str


class GetGameAnalysisData(TypedDict, total=False):
    """A record of getgameanalysisdata."""

    timestamp: int
    time_label: str
    group_dimension_list: list[GameDimension]
    metric_value: float


class PublisherAdposGeneral(TypedDict, total=False):
    """A record of publisher_adpos_general."""

    date: str
    slot_id: int
    ad_slot: str
    req_succ_count: int
    exposure_count: int
    click_count: int
    click_rate: float
    exposure_rate: float
    income: int
    ecpm: float


class AdUnitFigures(TypedDict, total=False):
    """The figures of one ad unit on a day."""

    date: str
    ad_slot: str
    req_succ_count: int
    exposure_count: int
    click_count: int
    click_rate: float
    exposure_rate: float
    income: int
    ecpm: float


class PublisherAdunitGeneral(TypedDict, total=False):
    """A record of publisher_adunit_general."""

    ad_unit_id: str
    ad_unit_name: str
    stat_item: AdUnitFigures


class PublisherCpsGeneral(TypedDict, total=False):
    """A record of publisher_cps_general."""

    date: str
    exposure_count: int
    click_count: int
    click_rate: float
    order_count: int
    order_rate: float
    total_fee: int
    total_commission: int


class SlotRevenue(TypedDict, total=False):
    """What one slot has earned."""

    slot_id: str
    slot_settled_revenue: int


class PublisherSettlement(TypedDict, total=False):
    """A record of publisher_settlement."""

    date: str
    zone: str
    month: str
    order: int
    sett_status: int
    settled_revenue: int
    sett_no: str
    mail_send_cnt: str
    slot_revenue: list[SlotRevenue]
    body: str
    penalty_all: int
    revenue_all: int
    settled_revenue_all: int


class AdUnitSize(TypedDict, total=False):
    """One size of an ad unit."""

    width: int
    height: int


class GetAdunitList(TypedDict, total=False):
    """A record of get_adunit_list."""

    ad_unit_id: str
    ad_unit_name: str
    ad_slot: str
    ad_unit_type: str
    ad_unit_status: str
    ad_unit_size: list[AdUnitSize]
    appid: str
    video_duration_min: int
    video_duration_max: int


RECORDS: dict[str, type] = {
    "getusersummary": GetUserSummary,
    "getusercumulate": GetUserCumulate,
    "getarticlesummary": GetArticleSummary,
    "getarticletotal": GetArticleTotal,
    "getuserread": GetUserRead,
    "getuserreadhour": GetUserReadHour,
    "getusershare": GetUserShare,
    "getusersharehour": GetUserShareHour,
    "getarticleread": GetArticleRead,
    "getarticleshare": GetArticleShare,
    "getbizsummary": GetBizSummary,
    "getarticletotaldetail": GetArticleTotalDetail,
    "getupstreammsg": GetUpstreamMsg,
    "getupstreammsghour": GetUpstreamMsgHour,
    "getupstreammsgweek": GetUpstreamMsgWeek,
    "getupstreammsgmonth": GetUpstreamMsgMonth,
    "getupstreammsgdist": GetUpstreamMsgDist,
    "getupstreammsgdistweek": GetUpstreamMsgDistWeek,
    "getupstreammsgdistmonth": GetUpstreamMsgDistMonth,
    "getinterfacesummary": GetInterfaceSummary,
    "getinterfacesummaryhour": GetInterfaceSummaryHour,
    "getweanalysisappiddailysummarytrend": GetWeAnalysisAppidDailySummaryTrend,
    "getweanalysisappiddailyvisittrend": GetWeAnalysisAppidDailyVisitTrend,
    "getweanalysisappidweeklyvisittrend": GetWeAnalysisAppidWeeklyVisitTrend,
    "getweanalysisappidmonthlyvisittrend": GetWeAnalysisAppidMonthlyVisitTrend,
    "getweanalysisappiddailyretaininfo": GetWeAnalysisAppidDailyRetainInfo,
    "getweanalysisappidweeklyretaininfo": GetWeAnalysisAppidWeeklyRetainInfo,
    "getweanalysisappidmonthlyretaininfo": GetWeAnalysisAppidMonthlyRetainInfo,
    "getweanalysisappidvisitpage": GetWeAnalysisAppidVisitPage,
    "getweanalysisappidvisitdistribution": GetWeAnalysisAppidVisitDistribution,
    "getweanalysisappiduserportrait": GetWeAnalysisAppidUserPortrait,
    "getgameanalysisdata": GetGameAnalysisData,
    "publisher_adpos_general": PublisherAdposGeneral,
    "publisher_adunit_general": PublisherAdunitGeneral,
    "publisher_cps_general": PublisherCpsGeneral,
    "publisher_settlement": PublisherSettlement,
    "get_adunit_list": GetAdunitList,
}
"""The type of a record by the name of its interface."""
