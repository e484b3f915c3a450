# Generated from harvester/wechat/interfaces.py by tests/typing/write_types.py: do not edit.

from typing import TypedDict

class GetUserSummary(TypedDict, total=False):
    ref_date: str
    user_source: int
    new_user: int
    cancel_user: int

class GetUserCumulate(TypedDict, total=False):
    ref_date: str
    user_source: int
    cumulate_user: int

class GetArticleSummary(TypedDict, total=False):
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

class GetArticleTotalDetails(TypedDict, total=False):
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
    ref_date: str
    msgid: str
    title: str
    user_source: int
    url: str
    content_url: str
    details: list[GetArticleTotalDetails]

class GetUserRead(TypedDict, total=False):
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
    ref_date: str
    share_scene: int
    share_count: int
    share_user: int
    user_source: int

class GetUserShareHour(TypedDict, total=False):
    ref_date: str
    ref_hour: int
    share_scene: int
    share_count: int
    share_user: int
    user_source: int

class GetArticleReadDetailReadUserSource(TypedDict, total=False):
    user_count: int
    scene_desc: str

class GetArticleReadDetail(TypedDict, total=False):
    read_user: int
    read_user_source: list[GetArticleReadDetailReadUserSource]

class GetArticleRead(TypedDict, total=False):
    ref_date: str
    msgid: str
    detail: GetArticleReadDetail

class GetArticleShareDetail(TypedDict, total=False):
    share_user: int

class GetArticleShare(TypedDict, total=False):
    ref_date: str
    msgid: str
    detail: GetArticleShareDetail

class GetBizSummaryDetailReadUserSource(TypedDict, total=False):
    user_count: int
    scene_desc: str

class GetBizSummaryDetail(TypedDict, total=False):
    read_user: int
    read_user_source: list[GetBizSummaryDetailReadUserSource]
    share_user: int
    zaikan_user: int
    like_user: int
    comment_count: int
    collection_user: int
    redirect_ori_page_user: int
    send_page_count: int

class GetBizSummary(TypedDict, total=False):
    ref_date: str
    detail: GetBizSummaryDetail

class GetArticleTotalDetailDetailListReadUserSource(TypedDict, total=False):
    user_count: int
    scene_desc: str

class GetArticleTotalDetailDetailListReadJumpPosition(TypedDict, total=False):
    position: int
    rate: float

class GetArticleTotalDetailDetailList(TypedDict, total=False):
    stat_date: str
    read_user: int
    read_user_source: list[GetArticleTotalDetailDetailListReadUserSource]
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
    read_jump_position: list[GetArticleTotalDetailDetailListReadJumpPosition]

class GetArticleTotalDetail(TypedDict, total=False):
    ref_date: str
    msgid: str
    publish_type: int
    title: str
    content_url: str
    detail_list: list[GetArticleTotalDetailDetailList]

class GetUpstreamMsg(TypedDict, total=False):
    ref_date: str
    msg_type: int
    msg_user: int
    msg_count: int
    user_source: int

class GetUpstreamMsgHour(TypedDict, total=False):
    ref_date: str
    ref_hour: int
    msg_type: int
    msg_user: int
    msg_count: int
    user_source: int

class GetUpstreamMsgWeek(TypedDict, total=False):
    ref_date: str
    msg_type: int
    msg_user: int
    msg_count: int
    user_source: int

class GetUpstreamMsgMonth(TypedDict, total=False):
    ref_date: str
    msg_type: int
    msg_user: int
    msg_count: int
    user_source: int

class GetUpstreamMsgDist(TypedDict, total=False):
    ref_date: str
    count_interval: int
    msg_user: int
    user_source: int

class GetUpstreamMsgDistWeek(TypedDict, total=False):
    ref_date: str
    count_interval: int
    msg_user: int
    user_source: int

class GetUpstreamMsgDistMonth(TypedDict, total=False):
    ref_date: str
    count_interval: int
    msg_user: int
    user_source: int

class GetInterfaceSummary(TypedDict, total=False):
    ref_date: str
    callback_count: int
    fail_count: int
    total_time_cost: int
    max_time_cost: int
    max_time_count: int

class GetInterfaceSummaryHour(TypedDict, total=False):
    ref_date: str
    ref_hour: int
    callback_count: int
    fail_count: int
    total_time_cost: int
    max_time_cost: int
    max_time_count: int

class GetWeAnalysisAppidDailySummaryTrend(TypedDict, total=False):
    ref_date: str
    visit_total: int
    share_pv: int
    share_uv: int

class GetWeAnalysisAppidDailyVisitTrend(TypedDict, total=False):
    ref_date: str
    session_cnt: int
    visit_pv: int
    visit_uv: int
    visit_uv_new: int
    stay_time_uv: float
    stay_time_session: float
    visit_depth: float

class GetWeAnalysisAppidWeeklyVisitTrend(TypedDict, total=False):
    ref_date: str
    session_cnt: int
    visit_pv: int
    visit_uv: int
    visit_uv_new: int
    stay_time_uv: float
    stay_time_session: float
    visit_depth: float

class GetWeAnalysisAppidMonthlyVisitTrend(TypedDict, total=False):
    ref_date: str
    session_cnt: int
    visit_pv: int
    visit_uv: int
    visit_uv_new: int
    stay_time_uv: float
    stay_time_session: float
    visit_depth: float

class GetWeAnalysisAppidDailyRetainInfoVisitUvNew(TypedDict, total=False):
    key: int
    value: int

class GetWeAnalysisAppidDailyRetainInfoVisitUv(TypedDict, total=False):
    key: int
    value: int

class GetWeAnalysisAppidDailyRetainInfo(TypedDict, total=False):
    ref_date: str
    visit_uv_new: list[GetWeAnalysisAppidDailyRetainInfoVisitUvNew]
    visit_uv: list[GetWeAnalysisAppidDailyRetainInfoVisitUv]

class GetWeAnalysisAppidWeeklyRetainInfoVisitUvNew(TypedDict, total=False):
    key: int
    value: int

class GetWeAnalysisAppidWeeklyRetainInfoVisitUv(TypedDict, total=False):
    key: int
    value: int

class GetWeAnalysisAppidWeeklyRetainInfo(TypedDict, total=False):
    ref_date: str
    visit_uv_new: list[GetWeAnalysisAppidWeeklyRetainInfoVisitUvNew]
    visit_uv: list[GetWeAnalysisAppidWeeklyRetainInfoVisitUv]

class GetWeAnalysisAppidMonthlyRetainInfoVisitUvNew(TypedDict, total=False):
    key: int
    value: int

class GetWeAnalysisAppidMonthlyRetainInfoVisitUv(TypedDict, total=False):
    key: int
    value: int

class GetWeAnalysisAppidMonthlyRetainInfo(TypedDict, total=False):
    ref_date: str
    visit_uv_new: list[GetWeAnalysisAppidMonthlyRetainInfoVisitUvNew]
    visit_uv: list[GetWeAnalysisAppidMonthlyRetainInfoVisitUv]

class GetWeAnalysisAppidVisitPage(TypedDict, total=False):
    ref_date: str
    page_path: str
    page_visit_pv: int
    page_visit_uv: int
    page_staytime_pv: float
    entrypage_pv: int
    exitpage_pv: int
    page_share_pv: int
    page_share_uv: int

class GetWeAnalysisAppidVisitDistributionListItemList(TypedDict, total=False):
    key: int
    value: int
    access_source_visit_uv: int

class GetWeAnalysisAppidVisitDistributionList(TypedDict, total=False):
    index: str
    item_list: list[GetWeAnalysisAppidVisitDistributionListItemList]

class GetWeAnalysisAppidVisitDistribution(TypedDict, total=False):
    ref_date: str
    list: list[GetWeAnalysisAppidVisitDistributionList]

class GetWeAnalysisAppidUserPortraitVisitUvNewProvince(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvNewCity(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvNewGenders(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvNewPlatforms(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvNewDevices(TypedDict, total=False):
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvNewAges(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvNew(TypedDict, total=False):
    province: list[GetWeAnalysisAppidUserPortraitVisitUvNewProvince]
    city: list[GetWeAnalysisAppidUserPortraitVisitUvNewCity]
    genders: list[GetWeAnalysisAppidUserPortraitVisitUvNewGenders]
    platforms: list[GetWeAnalysisAppidUserPortraitVisitUvNewPlatforms]
    devices: list[GetWeAnalysisAppidUserPortraitVisitUvNewDevices]
    ages: list[GetWeAnalysisAppidUserPortraitVisitUvNewAges]

class GetWeAnalysisAppidUserPortraitVisitUvProvince(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvCity(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvGenders(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvPlatforms(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvDevices(TypedDict, total=False):
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUvAges(TypedDict, total=False):
    id: int
    name: str
    value: int

class GetWeAnalysisAppidUserPortraitVisitUv(TypedDict, total=False):
    province: list[GetWeAnalysisAppidUserPortraitVisitUvProvince]
    city: list[GetWeAnalysisAppidUserPortraitVisitUvCity]
    genders: list[GetWeAnalysisAppidUserPortraitVisitUvGenders]
    platforms: list[GetWeAnalysisAppidUserPortraitVisitUvPlatforms]
    devices: list[GetWeAnalysisAppidUserPortraitVisitUvDevices]
    ages: list[GetWeAnalysisAppidUserPortraitVisitUvAges]

class GetWeAnalysisAppidUserPortrait(TypedDict, total=False):
    ref_date: str
    visit_uv_new: GetWeAnalysisAppidUserPortraitVisitUvNew
    visit_uv: GetWeAnalysisAppidUserPortraitVisitUv

class GetGameAnalysisDataGroupDimensionList(TypedDict, total=False):
    label: str
    value: str

class GetGameAnalysisData(TypedDict, total=False):
    timestamp: int
    time_label: str
    group_dimension_list: list[GetGameAnalysisDataGroupDimensionList]
    metric_value: float

class PublisherAdposGeneral(TypedDict, total=False):
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

class PublisherAdunitGeneralStatItem(TypedDict, total=False):
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
    ad_unit_id: str
    ad_unit_name: str
    stat_item: PublisherAdunitGeneralStatItem

class PublisherCpsGeneral(TypedDict, total=False):
    date: str
    exposure_count: int
    click_count: int
    click_rate: float
    order_count: int
    order_rate: float
    total_fee: int
    total_commission: int

class PublisherSettlementSlotRevenue(TypedDict, total=False):
    slot_id: str
    slot_settled_revenue: int

class PublisherSettlement(TypedDict, total=False):
    date: str
    zone: str
    month: str
    order: int
    sett_status: int
    settled_revenue: int
    sett_no: str
    mail_send_cnt: str
    slot_revenue: list[PublisherSettlementSlotRevenue]
    body: str
    penalty_all: int
    revenue_all: int
    settled_revenue_all: int

class GetAdunitListAdUnitSize(TypedDict, total=False):
    width: int
    height: int

class GetAdunitList(TypedDict, total=False):
    ad_unit_id: str
    ad_unit_name: str
    ad_slot: str
    ad_unit_type: str
    ad_unit_status: str
    ad_unit_size: list[GetAdunitListAdUnitSize]
    appid: str
    video_duration_min: int
    video_duration_max: int
